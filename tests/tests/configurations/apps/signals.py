# Wants a signal; nobody sends it here.
import signal

signal.signal(signal.SIGUSR2, signal.SIG_IGN)
MORE["signal"] = str(signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN)
