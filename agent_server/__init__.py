"""The rollout: a task played against a policy in an environment, scored and stored."""
