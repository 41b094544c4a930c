"""Chats in SQLite: written as they come, read back the same, searched, branched, deleted."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from localprobe.chats.store import SCHEMA, Chats
from localprobe.chats.turns import AlertRecord, Chat, GateRecord, KnobRecord, Reading, SteeredPart, Turn
from localprobe.errors import LocalprobeError
from localprobe.store.damaged import DamagedRow

KNOB = KnobRecord("empathy", 19, 0.22, 48.3, "all")


def answered() -> Chat:
    chat = Chat(model="fake", system="Be kind.")
    asked = chat.add(Turn("user", "What does   Jimmi\nneed?"))
    answer = Turn("assistant", "To be heard.", asked.id, pieces=["To be", " heard."], scores=[1.5, math.nan])
    answer.parts = [SteeredPart(0), SteeredPart(1, (KNOB,), added=3.25, scored=0)]
    answer.reading = Reading("empathy", 23, 0.5, 6.0)
    answer.reason, answer.details = "stopped", {"temperature": 0.7}
    chat.add(answer)
    return chat


def test_a_chat_is_read_as_it_was_written(tmp_path: Path) -> None:
    chat = answered()
    Chats(tmp_path / "chats.sqlite").write(chat, *chat.turns.values())
    again = Chats(tmp_path / "chats.sqlite").read(chat.id)
    assert (again.title, again.model, again.system, again.leaf) == (
        "What does Jimmi need?",
        "fake",
        "Be kind.",
        chat.leaf,
    )
    asked, answer = again.path()
    assert (asked.role, asked.content) == ("user", "What does   Jimmi\nneed?")
    assert answer.pieces == ["To be", " heard."]
    assert answer.scores[0] == 1.5
    assert math.isnan(answer.scores[1])
    assert answer.parts == [SteeredPart(0), SteeredPart(1, (KNOB,), added=3.25, scored=0)]
    assert answer.reading == Reading("empathy", 23, 0.5, 6.0)
    assert (answer.reason, answer.details) == ("stopped", {"temperature": 0.7})


def test_a_turn_is_written_again_as_it_grows(tmp_path: Path) -> None:
    chats, chat = Chats(tmp_path / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    answer = chat.path()[-1]
    answer.content += " Go on."
    chats.write(chat, answer)
    assert [turn.content for turn in chats.read(chat.id).path()][1:] == ["To be heard. Go on."]


def test_what_was_written_outlives_a_process_that_never_closed(tmp_path: Path) -> None:
    chats, chat = Chats(tmp_path / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    other = sqlite3.connect(tmp_path / "chats.sqlite")  # while the first is still open
    assert other.execute("SELECT count(*) FROM turn").fetchone() == (2,)


def test_search_finds_every_word_in_titles_and_messages(tmp_path: Path) -> None:
    chats = Chats(tmp_path / "chats.sqlite")
    for text, answer in (("The door", "It is 100% shut"), ("The maze", "It has a door_way"), ("Lunch", "Soup")):
        chat = Chat(model="fake")
        asked = chat.add(Turn("user", text))
        chat.add(Turn("assistant", answer, asked.id))
        chats.write(chat, *chat.turns.values())
    assert [each.title for each in chats.find()] == ["Lunch", "The maze", "The door"]
    assert {each.title for each in chats.find("DOOR the")} == {"The door", "The maze"}
    assert [each.title for each in chats.find("100%")] == ["The door"]
    assert [each.title for each in chats.find("r_w")] == ["The maze"]
    assert chats.find("0%s") == []
    assert [each.turns for each in chats.find("soup")] == [2]


def test_an_answer_again_and_an_edited_message_are_siblings(tmp_path: Path) -> None:
    chat = answered()
    asked, first = chat.path()
    second = chat.add(Turn("assistant", "Company.", asked.id))
    assert chat.path() == [asked, second]
    assert chat.siblings(second) == [first, second]
    other = chat.add(Turn("user", "What does he want?", asked.parent))
    chat.add(Turn("assistant", "A friend.", other.id))
    assert chat.siblings(other) == [asked, other]
    chat.show(asked)  # and the newest answer to it
    assert chat.path() == [asked, second]
    chats = Chats(tmp_path / "chats.sqlite")
    chats.write(chat, *chat.turns.values())
    assert len(chats.read(chat.id).turns) == 5


def test_a_branch_is_a_chat_of_its_own(tmp_path: Path) -> None:
    chat = answered()
    branch = chat.branch()
    branch.path()[1].content = "Changed"
    assert [turn.content for turn in chat.path()] == ["What does   Jimmi\nneed?", "To be heard."]
    assert branch.id != chat.id
    assert not set(branch.turns) & set(chat.turns)
    assert branch.path()[1].parts == chat.path()[1].parts


def test_scores_are_told_without_what_the_knobs_add() -> None:
    turn = Turn("assistant", "abcd", pieces=list("abcd"), scores=[1.0, 6.0, 7.0, math.nan])
    turn.parts = [SteeredPart(0), SteeredPart(2, (KNOB,), added=5.0, scored=1)]
    assert turn.own()[:3] == [1.0, 1.0, 2.0]
    assert math.isnan(turn.own()[3])
    assert Turn("user", "hello").own() == []


def test_a_chat_that_is_deleted_is_gone_with_its_turns(tmp_path: Path) -> None:
    chats, chat = Chats(tmp_path / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    chats.delete(chat.id)
    assert chats.find() == []
    with pytest.raises(LocalprobeError, match=f"there is no chat {chat.id}"):
        chats.read(chat.id)
    assert sqlite3.connect(chats.path).execute("SELECT count(*) FROM turn").fetchone() == (0,)


def test_a_chat_whose_file_was_deleted_meanwhile_goes_whole_into_a_new_one(tmp_path: Path) -> None:
    chats, chat = Chats(tmp_path / "data" / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    shutil.rmtree(tmp_path / "data")
    chats.write(chat, chat.path()[-1])
    assert [turn.content for turn in Chats(chats.path).read(chat.id).path()] == [turn.content for turn in chat.path()]


def test_a_chat_that_another_process_deleted_is_whole_again_when_it_goes_on(tmp_path: Path) -> None:
    chats, chat = Chats(tmp_path / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    Chats(chats.path).delete(chat.id)
    chats.write(chat, chat.path()[-1])
    assert len(chats.read(chat.id).turns) == len(chat.turns)


def test_a_file_of_a_newer_localprobe_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    Chats(path)
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA.format + 1}")
    database.close()
    with pytest.raises(LocalprobeError, match=r"written by a newer localprobe \(format 2; this one reads 1\): upgrade"):
        Chats(path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    path.write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(LocalprobeError, match=r"cannot open the chats in .*: file is not a database"):
        Chats(path)


def test_the_file_lies_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    assert Chats().path == tmp_path / "data" / "chats.sqlite"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalprobeError, match="cannot make the folder"):
        Chats(tmp_path / "file" / "chats.sqlite")


def test_a_long_answer_is_one_row_so_that_it_can_be_written_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats, chat = Chats(tmp_path / "chats.sqlite"), answered()
    chats.write(chat, *chat.turns.values())
    turn = chat.path()[-1]
    turn.pieces, turn.scores = ["word "] * 4000, [1.23456] * 4000
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        database.set_trace_callback(statements.append)
        return database

    monkeypatch.setattr(sqlite3, "connect", traced)
    chats.write(chat, turn)
    monkeypatch.undo()
    written = statements[next(i for i, words in enumerate(statements) if words.startswith("BEGIN")) :]
    assert [words.split(" ", 1)[0] for words in written] == ["BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT"]
    assert chats.read(chat.id).path()[-1].pieces == turn.pieces


def two_chats(tmp_path: Path) -> tuple[Chats, Chat, Chat]:
    chats, one, other = Chats(tmp_path / "chats.sqlite"), answered(), answered()
    for chat in (one, other):
        chats.write(chat, *chat.turns.values())
    return chats, one, other


def damage(chats: Chats, statement: str) -> None:
    with sqlite3.connect(chats.path) as database:
        database.execute(statement)


@pytest.mark.parametrize("column", ["title = x'ff00'", "updated = 'yesterday'", "updated = 1e300", "model = 7.5"])
def test_a_damaged_chat_is_skipped_and_told(tmp_path: Path, column: str) -> None:
    chats, one, other = two_chats(tmp_path)
    damage(chats, f"UPDATE chat SET {column} WHERE id = '{one.id}'")
    if column == "model = 7.5":  # SQLite makes a text of it
        assert len(chats.find()) == 2
        return
    with pytest.warns(DamagedRow, match=rf"^chat '{one.id}' in .*chats\.sqlite is damaged \(.*\): it was skipped$"):
        assert [each.id for each in chats.find()] == [other.id]


@pytest.mark.parametrize(
    "about",
    ["{", "[]", "x", '{"pieces": ["To be"]}', '{"pieces": 7}'],
)
def test_an_answer_whose_scores_are_damaged_keeps_its_text(tmp_path: Path, about: str) -> None:
    chats, one, _ = two_chats(tmp_path)
    question, answer = one.path()
    damage(chats, f"UPDATE turn SET about = '{about}' WHERE id = '{answer.id}'")
    with pytest.warns(DamagedRow, match=rf"^message '{answer.id}' of a chat in .* its text was kept, without scores$"):
        read = chats.read(one.id).path()
    assert [turn.content for turn in read] == [question.content, "To be heard."]
    assert read[-1].pieces == ["To be heard."]
    assert [math.isnan(score) for score in read[-1].scores] == [True]


def test_gates_alerts_and_steering_are_read_as_they_were_written(tmp_path: Path) -> None:
    chats, one, _ = two_chats(tmp_path)
    answer = one.path()[-1]
    gated = KnobRecord("empathy", 19, 0.22, 48.3, "all", "0.22 empathy @19 when calm > 1")
    answer.parts = [SteeredPart(0, (gated,))]
    answer.details["gates"] = [{"token": 1, "gate": "when calm > 1", "open": True, "score": None}]
    answer.details["alerts"] = [{"token": 0, "probe": "harm > 2", "score": 2.5}]
    chats.write(one, answer)
    read = chats.read(one.id).path()[-1]
    assert read.parts == answer.parts
    assert read.gates == [GateRecord(1, "when calm > 1", True, None)]
    assert read.alerts == [AlertRecord(0, "harm > 2", 2.5)]


def test_a_chat_that_was_kept_before_there_were_gates_is_read(tmp_path: Path) -> None:
    chats, one, _ = two_chats(tmp_path)
    answer = one.path()[-1]
    with sqlite3.connect(chats.path) as database:
        about = json.loads(database.execute("SELECT about FROM turn WHERE id = ?", [answer.id]).fetchone()[0])
        for part in about["parts"]:
            for knob in part["knobs"]:
                del knob["steering"]
        database.execute("UPDATE turn SET about = ? WHERE id = ?", [json.dumps(about), answer.id])
    read = chats.read(one.id).path()[-1]
    assert read.parts[1].knobs == (KNOB,)
    assert (read.gates, read.alerts) == ([], [])


@pytest.mark.parametrize("how", [{"gates": 7}, {"gates": [{"token": "x"}]}, {"alerts": [1]}])
def test_an_answer_whose_gates_are_damaged_keeps_its_text(tmp_path: Path, how: dict[str, Any]) -> None:
    chats, one, _ = two_chats(tmp_path)
    answer = one.path()[-1]
    with sqlite3.connect(chats.path) as database:
        about = json.loads(database.execute("SELECT about FROM turn WHERE id = ?", [answer.id]).fetchone()[0])
        database.execute("UPDATE turn SET about = ? WHERE id = ?", [json.dumps(about | {"how": how}), answer.id])
    with pytest.warns(DamagedRow, match=rf"^message '{answer.id}' of a chat in .* its text was kept, without scores$"):
        read = chats.read(one.id).path()[-1]
    assert (read.content, read.gates, read.alerts) == ("To be heard.", [], [])


def test_as_many_tokens_as_scores_are_read(tmp_path: Path) -> None:
    chats, one, _ = two_chats(tmp_path)
    answer = one.path()[-1]
    answer.scores = [1.0]
    chats.write(one, answer)
    with pytest.warns(DamagedRow, match="differ in number"):
        assert len(chats.read(one.id).path()[-1].pieces) == 1


def test_the_turns_after_one_that_is_lost_follow_the_one_before_it(tmp_path: Path) -> None:
    chats, one, _ = two_chats(tmp_path)
    question, answer = one.path()
    more = one.add(Turn("user", "And then?", answer.id))
    chats.write(one, more)
    damage(chats, f"UPDATE turn SET role = 'nobody' WHERE id = '{answer.id}'")
    with pytest.warns(DamagedRow, match=rf"^message '{answer.id}' of a chat"):
        assert [turn.id for turn in chats.read(one.id).path()] == [question.id, more.id]


def test_turns_that_follow_each_other_in_a_circle_are_read(tmp_path: Path) -> None:
    chats, one, _ = two_chats(tmp_path)
    question, answer = one.path()
    damage(chats, f"UPDATE turn SET parent = '{answer.id}' WHERE id = '{question.id}'")
    read = chats.read(one.id)
    read.show(read.turns[question.id])
    assert {turn.id for turn in read.path()} <= {question.id, answer.id}


def test_chats_are_their_users_alone(tmp_path: Path) -> None:
    chats, _, _ = two_chats(tmp_path)
    assert chats.path.stat().st_mode & 0o777 == 0o600
