"""Stands in for a service manager: prints each datagram that arrives on the Unix socket of its argument, on one line."""
import socket
import sys

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print("listening", flush=True)
while True:
    # Descriptors that come along (a barrier) are closed by the kernel, which answers the barrier.
    print(receiver.recv(4096).decode().strip().replace("\n", " "), flush=True)
