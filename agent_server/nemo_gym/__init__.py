"""NeMo Gym's wire, in both directions: its clients on our servers, its resources servers under our agent."""
