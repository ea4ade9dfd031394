"""Train on three CSV files, tune, measure, recommend, explain, plot and serve.

Run it in the folder of ratings.csv (user_id, item_id, rating, timestamp), users.csv (user_id, gender, occupation) and
films.csv (item_id, title, and genres such as ``Action|Comedy``). movielens_csv.py writes these files. It needs
``pip install 'lightfm_fast[tune,plot,serve]' pandas``.
"""

import socket
import threading
import urllib.request

import pandas as pd
import uvicorn

from lightfm_fast import Recommender
from lightfm_fast.features import MultiCategorical
from lightfm_fast.serve.app import create_app

ratings = pd.read_csv("ratings.csv").sort_values("timestamp")
users, films = pd.read_csv("users.csv"), pd.read_csv("films.csv")
past, later = ratings[: len(ratings) * 4 // 5], ratings[len(ratings) * 4 // 5 :]  # nothing learns from later

columns = {"value": "rating", "positive_from": 4, "time": "timestamp", "title": "title"}
columns |= {"user_features": ["gender", "occupation"], "item_features": {"genres": MultiCategorical("|")}}
recommender = Recommender.from_tables(past, users, films, epochs=5, **columns)
# The search holds the latest part of the past out, and chooses by it. For data of your own, allow it "10min".
print(recommender.tune(budget="3trials", task="next in time", num_threads=1, random_state=1))
print(recommender.evaluate(later, unknown="skip"))

user = past["user_id"].iloc[-1]
best = recommender.recommend(user, n=5)
why = recommender.explain(user, best["item_id"][0])
print(best, recommender.recommend({"occupation": "artist"}, n=5), why, sep="\n\n")
why.plot().figure.savefig("why.png")

listening = socket.create_server(("127.0.0.1", 0))
service = uvicorn.Server(uvicorn.Config(create_app(recommender), log_level="warning"))
threading.Thread(target=service.run, args=[[listening]], daemon=True).start()
print(urllib.request.urlopen(f"http://127.0.0.1:{listening.getsockname()[1]}/users/{user}/recommendations").read())
