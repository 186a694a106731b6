"""The script's process: bootstrap, patches, call sites, schedule and the sink that evidence goes to."""
