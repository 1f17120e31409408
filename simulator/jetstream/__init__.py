"""JetStream beyond publish and consume: stored messages, key-value buckets, consumers seen from outside, following."""
