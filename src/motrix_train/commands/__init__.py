"""The commands of `motrix-train`, one module each; `motrix_train.cli` puts them together."""
