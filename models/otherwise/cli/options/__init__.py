"""Options that several commands share: models, sources of images, the input contract, patches, the network."""
