"""Which core may work on which connection: the choices of an organization, and the programs of threads that follow them."""
