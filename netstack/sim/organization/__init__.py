"""Who may touch which connection: the choices of an organization, and the threads that act on them."""
