"""The only room that speaks to the network: sources, repositories, what is fetched and what is published."""
