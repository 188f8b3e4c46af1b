"""The OCI runtime specification: one container's life. Start at `client`; what happens is told in `launcher.birth`."""
