# Goes where it lies, and reads a file there.
os.chdir(os.path.dirname(os.path.abspath(__file__)))
with open("settings.ini") as settings:
    MORE["setting"] = settings.read().strip()
