"""A model on a server (`localprobe serve`), as the object that `localprobe.load` gives.

model = lp.connect("http://127.0.0.1:8765")
answer = model.answer("My friend has gone quiet.", steer="0.2 empathy")
print(answer, answer.scores)
"""
