"""What this project replaces, built to be measured beside it: BS4NN, and backpropagation through time in snntorch."""
