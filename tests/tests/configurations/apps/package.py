# Finds its modules beside itself.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import beside

MORE["beside"] = beside.NAME
