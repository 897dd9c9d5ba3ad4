"""An ML backend for Label Studio: it labels photos that Label Studio asks about, and learns from what people draw.

It speaks the HTTP interface that Label Studio calls (health, setup, predict, webhook, train), so Label Studio's own
package for backends is not needed.
"""
