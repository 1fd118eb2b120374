"""What input and timers ask of the host: a union of these flags."""

TCP_ACKED = 1  # `pcb.acked_bytes` were newly acknowledged and left the send buffer
TCP_OUTPUT = 2  # call `tcp_output` until it has nothing more
TCP_DELAYED_ACK = 4  # the delayed-ACK timer was started
TCP_DELIVERED = 8  # `pcb.delivered_bytes` arrived in order
TCP_CONNECTED = 16  # the handshake is done
TCP_FINISHED = 32  # the peer's FIN was delivered: it sends no more data
TCP_CLOSED = 64  # the connection has ended, `pcb.ended` says why
TCP_REPLY_RESET = 128  # answer the segment as one that belongs to no connection (see `connection`)
TCP_SEND_RESET = 256  # send the connection's own reset (see `connection`); comes with TCP_CLOSED
