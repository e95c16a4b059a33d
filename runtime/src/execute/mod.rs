//! Walks a load plan: one request to the kernel a step.
