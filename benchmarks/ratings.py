"""Film ratings (MovieLens 100K, folds u1 to u5): RMSE of factorization machines with ids and with features, and of peers."""
