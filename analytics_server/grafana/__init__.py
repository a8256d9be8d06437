"""The JSON protocol of Grafana's simpod data source: panels, variables, ad-hoc filters and annotations."""
