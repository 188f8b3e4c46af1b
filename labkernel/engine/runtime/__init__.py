"""The OCI runtime specification: one container's life. Start at `client`; its story is `launcher.birth`."""
