"""What needs people's labels: reading them, agreement, tuning; and pages that show what layers say."""
