"""The prior P_W of Eq. 5: styles drawn from the mapping network, and the flow fitted to them."""
