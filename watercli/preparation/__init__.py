"""From source files to a store: `prepare` runs it; `readers` read, `quality` looks, the rest aligns and writes."""
