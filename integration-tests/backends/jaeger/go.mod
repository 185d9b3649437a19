module sidelight/jaeger

go 1.25

require github.com/jaegertracing/jaeger v1.62.0

replace github.com/Shopify/sarama => github.com/Shopify/sarama v1.33.0
