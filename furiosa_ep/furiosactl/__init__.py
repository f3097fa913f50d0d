"""The command ``furiosactl``: looks at the devices of the emulated host, and injects faults."""
