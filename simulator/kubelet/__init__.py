"""The stand-in for a node: turns Deployments into pods, and runs the containers of each pod as local processes."""
