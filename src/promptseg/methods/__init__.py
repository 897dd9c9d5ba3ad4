"""The methods: modules that turn their parameters into prompts. They never see an image or a label."""
