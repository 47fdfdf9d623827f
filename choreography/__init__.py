"""RabbitMQ sequences the steps: each service reacts to messages and emits messages."""
