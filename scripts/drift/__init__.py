"""What several stages share: table schemas, configuration, chat rendering, engines, statistics, manifests."""
