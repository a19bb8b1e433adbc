"""The recurrence where every sample has its own step."""
