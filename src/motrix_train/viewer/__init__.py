"""Looks at environments and policies live: in a browser, or in MuJoCo's own window."""
