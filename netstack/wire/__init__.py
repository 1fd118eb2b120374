"""A stack on a TUN device, against real peers."""
