"""The physics engine under the tasks: what it does (`base`), and how the CPU does it (`cpu`)."""
