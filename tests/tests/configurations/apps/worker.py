# The only thing of its process group: works until it is told to end.
import os
import time

while True:
    with open("run/turns.new", "w") as turns:
        turns.write("at work")
    os.replace("run/turns.new", "run/turns")
    time.sleep(0.05)
