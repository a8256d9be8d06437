"""A/B tests: their definitions, who is shown what, what came of it, and how many subjects it takes."""
