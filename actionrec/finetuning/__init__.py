"""Fine-tuning: train the last stages of the backbone on the training clips."""
