"""Base images made on this machine from distribution archives, with no registry.

`names.resolve` says, without doing anything, whether a name is one the catalog can make; `catalog.Catalog`
makes it. Everything below comes from the machine's own configuration: no address of any archive is written
in this package.
"""
