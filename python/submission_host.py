"""Runs one Python submission for the model host, which starts this and speaks gRPC on its behalf.

It uses the standard library only, so that a submission's own dependencies never meet ours. It trusts the submission with
nothing that the host relies on: the host bounds, checks and times whatever comes out of this process.

    python -c SCRIPT FOLDER BASE_CLASS LARGEST_ANSWER

Requests come on file descriptor 0 and answers go to 1; both are moved out of the submission's way before any of its code
runs. Everything is little-endian. `text` is a u32 length and UTF-8, `variant` a u8 type, a u32 length and bytes:

    request   u32 length, u32 id, u8 kind, text name, u32 count, variant*, u32 count, (text keyword, variant)*
    answer    u32 length, u32 id, text status code, text message, variant
"""

import ast
import importlib
import importlib.util
import inspect
import io
import json
import linecache
import os
import queue
import re
import signal
import struct
import sys
import threading
import traceback
import types

SETUP, CALL = 0, 1
NONE, DOUBLE, INT, STRING, PARQUET, ARROW, JSON = range(7)

SUCCESS = "SUCCESS"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
BAD_IMPLEMENTATION = "BAD_IMPLEMENTATION"
SETUP_FAILED = "SETUP_FAILED"
MODEL_FAILED = "MODEL_FAILED"

PR_SET_PDEATHSIG = 1

MODULE = "main"
QUESTIONS = ("predict", "predict_all")
LONGEST_MESSAGE = 2000
SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
# Cell magics whose body is ordinary Python.
TRANSPARENT_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")
# `%magic`, `!command`, `x = %magic`, `x = !command`, `?help` and `help?`
FOREIGN_LINE = re.compile(r"\s*(\w+\s*=\s*)?(!|%{1,2}[A-Za-z])|\s*\?|\s*[\w.]+\?{1,2}\s*$")


class Refused(Exception):
    """A request that is not answered with a value."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


def decode(kind, data, name, failed):
    """The Python value of a variant; `failed` is the status when the submission's environment cannot read it."""
    try:
        return DECODERS[kind](data)
    except ImportError as error:
        what = f"the argument {name} comes as {'PARQUET' if kind == PARQUET else 'ARROW'}"
        raise Refused(failed, f"{what}, which needs pandas and pyarrow in requirements.txt: {error}") from None
    except Exception as error:
        raise Refused(INVALID_ARGUMENT, f"the argument {name} cannot be read: {describe(error)}") from None


def decode_none(data):
    return None


def decode_double(data):
    return struct.unpack("<d", data)[0]


def decode_int(data):
    return struct.unpack("<q", data)[0]


def decode_text(data):
    return str(data, "utf-8")


def decode_json(data):
    return json.loads(str(data, "utf-8"))


def decode_parquet(data):
    import pandas

    return pandas.read_parquet(io.BytesIO(data))


def decode_arrow(data):
    import pyarrow

    is_file = bytes(data[:6]) == b"ARROW1"
    reader = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(pyarrow.py_buffer(data))
    table = reader.read_all()
    return table.to_pandas() if importlib.util.find_spec("pandas") else table


DECODERS = (
    decode_none,
    decode_double,
    decode_int,
    decode_text,
    decode_parquet,
    decode_arrow,
    decode_json,
)


def encode(value):
    """The variant of a Python value. numpy and pandas are looked for only where the submission brought them."""
    value = as_builtin(value)
    if value is None:
        return NONE, b""
    if isinstance(value, bool):
        return JSON, to_json(value)
    if isinstance(value, float):
        return DOUBLE, struct.pack("<d", value)
    if isinstance(value, int) and SMALLEST_INT <= value <= LARGEST_INT:
        return INT, struct.pack("<q", value)
    if isinstance(value, str):
        return STRING, value.encode("utf-8")
    if is_instance_of(value, "pandas", "DataFrame"):
        return PARQUET, value.to_parquet()
    return JSON, to_json(value)


def to_json(value):
    try:
        return json.dumps(value, default=jsonable, separators=(",", ":")).encode("ascii")
    except TypeError:
        # numpy's numbers as keys are the one thing that no hook of the encoder sees
        plain = with_builtin_keys(value)
        return json.dumps(plain, default=jsonable, separators=(",", ":")).encode("ascii")


def jsonable(value):
    plain = as_builtin(value)
    if plain is value:
        raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
    return plain


def with_builtin_keys(value):
    if isinstance(value, dict):
        return {as_builtin(key): with_builtin_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_builtin_keys(item) for item in value]
    return value


def as_builtin(value):
    """A numpy scalar or array as numbers and lists; anything else as it is."""
    if is_instance_of(value, "numpy", "generic"):
        return value.item()
    if is_instance_of(value, "numpy", "ndarray"):
        return value.tolist()
    return value


def is_instance_of(value, module, name):
    """Whether `value` is of a class of a package, which is not imported for the question."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


# ---------------------------------------------------------------------------------------------------------------------
# Errors in words
# ---------------------------------------------------------------------------------------------------------------------


def describe(error):
    """Type and message; an error's own text may raise as well."""
    try:
        message = str(error)
    except BaseException:
        message = ""
    name = type(error).__name__
    return f"{name}: {message[:LONGEST_MESSAGE]}" if message else name


def describe_with_place(error, folder):
    """Type, message, and the last line of the submission that was under way."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if is_inside(path, folder):
            place = path, line, frame.f_code.co_name
    if place is None:
        return describe(error)
    path, line, function = place
    source = linecache.getline(path, line).strip()[:200]
    return f"{describe(error)} ({os.path.relpath(path, folder)}, line {line}, in {function}: `{source}`)"


def log_traceback(error):
    """The whole story, for the submission's log."""
    try:
        traceback.print_exception(type(error), error, error.__traceback__)
    except BaseException:
        pass


def is_inside(path, folder):
    return path.startswith(folder + os.sep)


# ---------------------------------------------------------------------------------------------------------------------
# The submission's code
# ---------------------------------------------------------------------------------------------------------------------


def load(folder):
    """The submission as the module `main`: its main.py or, without one, its notebook."""
    path, source = find_source(folder)
    module = types.ModuleType(MODULE)
    module.__file__ = path
    # for tracebacks; a notebook's own file does not have these lines
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    sys.modules[MODULE] = module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[MODULE]
        raise
    return module


def find_source(folder):
    path = os.path.join(folder, "main.py")
    if os.path.isfile(path):
        # with its encoding declaration, as an import would read it
        with open(path, "rb") as file:
            return path, importlib.util.decode_source(file.read())
    notebooks = sorted(name for name in os.listdir(folder) if name.endswith(".ipynb"))
    if len(notebooks) != 1:
        found = f"several notebooks: {', '.join(notebooks)}" if notebooks else "no notebook either"
        raise Refused(BAD_IMPLEMENTATION, f"the submission has no main.py, and {found}")
    path = os.path.join(folder, notebooks[0])
    try:
        with open(path, encoding="utf-8") as file:
            return path, notebook_to_python(json.load(file))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Refused(BAD_IMPLEMENTATION, f"{notebooks[0]} is not a notebook: {describe(error)}") from None


def notebook_to_python(notebook):
    """The code cells in their order, without what only a notebook understands."""
    sources = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    cells = ("".join(source) for source in sources)
    return "\n\n".join(cell_to_python(cell) for cell in cells) + "\n"


def cell_to_python(cell):
    first, _, rest = cell.lstrip().partition("\n")
    if first.startswith("%%"):
        return cell_to_python(rest) if first.split()[0] in TRANSPARENT_MAGICS else ""
    try:
        ast.parse(cell)
        return cell
    except SyntaxError:
        return "\n".join(line_to_python(line) for line in cell.split("\n"))


def line_to_python(line):
    """`pass` in place of a magic or shell line, so that a block of nothing else stays a block."""
    return line[: len(line) - len(line.lstrip())] + "pass" if FOREIGN_LINE.match(line) else line


def find_class(module, names, folder):
    """The class of the submission that is meant by the first of the base classes `names` that can be imported."""
    reasons = []
    for name in names:
        base, reason = find_base(name)
        if base is not None:
            return the_one(subclasses(module, base, folder), f"subclass of {name}")
        reasons.append(reason)
    wanted = "class with `tick` and `predict` or `predict_all`"
    return the_one(plain_classes(module, folder), f"{wanted} in the submission ({'; '.join(reasons)})")


def find_base(name):
    """A class by its full name, or None and why there is none."""
    package, _, attribute = name.rpartition(".")
    try:
        base = getattr(importlib.import_module(package), attribute)
    except Exception as error:
        return None, f"{name} cannot be imported: {describe(error)}"
    return (base, None) if isinstance(base, type) else (None, f"{name} is not a class")


def subclasses(module, base, folder):
    """Those that the submission defines or, when it defines none, those that it imports."""
    found = [kind for kind in classes_in(module) if issubclass(kind, base) and kind is not base]
    own = [kind for kind in found if is_own(kind, folder)]
    return most_derived(own or found)


def plain_classes(module, folder):
    fitting = (kind for kind in classes_in(module) if hasattr(kind, "tick") and any(hasattr(kind, q) for q in QUESTIONS))
    return most_derived([kind for kind in fitting if is_own(kind, folder)])


def classes_in(module):
    classes = (value for value in vars(module).values() if isinstance(value, type))
    return list(dict.fromkeys(classes))


def is_own(kind, folder):
    defining = sys.modules.get(kind.__module__)
    return is_inside(getattr(defining, "__file__", None) or "", folder)


def most_derived(classes):
    """Without abstract classes, and without those that another one builds upon; all of them when nothing is left."""
    concrete = [kind for kind in classes if not inspect.isabstract(kind)]
    leaves = [kind for kind in concrete if not any(issubclass(other, kind) for other in concrete if other is not kind)]
    return leaves or classes


def the_one(classes, wanted):
    if len(classes) == 1:
        return classes[0]
    names = ", ".join(sorted(kind.__name__ for kind in classes))
    found = f"there are several: {names}; leave one" if classes else "there is none"
    raise Refused(BAD_IMPLEMENTATION, f"one {wanted} is wanted, and {found}")


def check_signature(function, positional, keyword, what):
    """That `function` can be called with the game's arguments at all, told apart from errors inside of it."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*positional, **keyword)
    except TypeError as error:
        raise Refused(BAD_IMPLEMENTATION, f"{what}{signature} does not take the game's arguments: {error}") from None


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------


class Submission:
    def __init__(self, folder, base_class, largest_answer):
        self.folder = folder
        self.base_class = base_class
        self.largest_answer = largest_answer
        self.instance = None

    def answer(self, request):
        """Status code, message, and a variant."""
        kind, failed = request.kind, SETUP_FAILED if request.kind == SETUP else MODEL_FAILED
        try:
            arguments = request.arguments(failed)
            if kind == SETUP:
                self.set_up(request.name, *arguments)
                return SUCCESS, "", (NONE, b"")
            return SUCCESS, "", self.call(request.name, *arguments)
        except Refused as refusal:
            return refusal.code, str(refusal), (NONE, b"")
        except BaseException as error:
            # a submission may raise anything, SystemExit too
            log_traceback(error)
            return failed, describe_with_place(error, self.folder), (NONE, b"")

    def set_up(self, class_name, positional, keyword):
        names = dict.fromkeys(name for name in (class_name, self.base_class) if name)
        kind = find_class(load(self.folder), list(names), self.folder)
        check_signature(kind, positional, keyword, kind.__name__)
        self.instance = kind(*positional, **keyword)

    def call(self, name, positional, keyword):
        method = None if name.startswith("_") else getattr(self.instance, name, None)
        if not callable(method):
            kind = type(self.instance).__name__
            raise Refused(BAD_IMPLEMENTATION, f"{kind} has no method `{name[:100]}`")
        check_signature(method, positional, keyword, name)
        return self.checked(method(*positional, **keyword), name)

    def checked(self, value, name):
        try:
            variant = encode(value)
        except BaseException as error:
            raise Refused(MODEL_FAILED, f"what {name} returned cannot be sent: {describe(error)}") from None
        size = len(variant[1])
        if size > self.largest_answer:
            largest = self.largest_answer
            raise Refused(MODEL_FAILED, f"the answer of {name} has {size} bytes, more than the {largest} of a message")
        return variant


class Request:
    def __init__(self, data):
        self.data = memoryview(data)
        self.at = 0
        self.id, self.kind = self.number("<I"), self.number("<B")
        self.name = self.text()
        self.positional = [self.variant() for _ in range(self.number("<I"))]
        self.keyword = [(self.text(), self.variant()) for _ in range(self.number("<I"))]

    def arguments(self, failed):
        positional = [decode(*variant, position, failed) for position, variant in enumerate(self.positional, 1)]
        return positional, {name: decode(*variant, f"`{name}`", failed) for name, variant in self.keyword}

    def number(self, form):
        (number,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return number

    def bytes(self):
        start = self.at + 4
        self.at = start + self.number("<I")
        return self.data[start : self.at]

    def text(self):
        return str(self.bytes(), "utf-8")

    def variant(self):
        return self.number("<B"), self.bytes()


def to_frame(request_id, code, message, variant):
    kind, value = variant
    texts = (text.encode("utf-8", "replace") for text in (code, message))
    head = b"".join(struct.pack("<I", len(text)) + text for text in texts) + struct.pack("<BI", kind, len(value))
    return struct.pack("<II", 4 + len(head) + len(value), request_id) + head, value


# ---------------------------------------------------------------------------------------------------------------------
# The host's end of the pipes
# ---------------------------------------------------------------------------------------------------------------------


def take_pipes():
    """Moves the pipes away from standard input and output: what the submission prints goes to the log."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def end_with_host():
    """Has the kernel kill this process when the host dies (Linux), even while native code lets no Python thread run."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        # no Linux, or a Python without ctypes: the end of the pipe is noticed as soon as Python code runs
        pass


def receive_all(pipe, inbox):
    """Reads in a thread of its own, so that the host's end is noticed also while the submission computes."""
    try:
        with open(pipe, "rb") as requests:
            while head := requests.read(4):
                inbox.put(requests.read(struct.unpack("<I", head)[0]))
    finally:
        os._exit(0)


def send(pipe, *parts):
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(pipe, rest) :]


def run(folder, base_class, largest_answer):
    end_with_host()
    requests, answers = take_pipes()
    inbox = queue.SimpleQueue()
    threading.Thread(target=receive_all, args=(requests, inbox), daemon=True, name="host").start()
    process = os.getpid()
    sys.path.insert(0, folder)
    sys.argv = [os.path.join(folder, "main.py")]
    submission = Submission(folder, base_class, largest_answer)
    while True:
        request = Request(inbox.get())
        answer = submission.answer(request)
        if os.getpid() != process:
            # a fork of the submission that came back from its method: the answer is its parent's to give
            os._exit(0)
        send(answers, *to_frame(request.id, *answer))


if __name__ == "__main__":
    run(os.path.realpath(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
