def metadata_of(t, rows): return {}
def settings_of(c): return {}
