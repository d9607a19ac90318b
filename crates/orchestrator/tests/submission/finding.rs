//! Which class of a submission is its model, and how it is made.

use protocol::Value;

use crate::host::{BASE_CLASS, Host, keyword};

const PLAIN: &str = "
class Plain:
    def tick(self, prices): pass
    def predict(self, asset, horizon, step): return []
    def name(self): return 'plain'
";

const BASE: &str = "
import abc
class TrackerBase(abc.ABC):
    def tick(self, prices): pass
    @abc.abstractmethod
    def predict(self, asset, horizon, step): ...
    def name(self): return type(self).__name__
";

const SUBCLASS: &str = "
from game import TrackerBase
class Common(TrackerBase):
    pass
class Mine(Common):
    def predict(self, asset, horizon, step): return []
class Other:
    def tick(self, prices): pass
    def predict(self, asset, horizon, step): return []
";

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a str)];

async fn name_of_the_model(files: Files<'_>, class: &str) -> Value {
    let host = Host::of_files(files).await;
    let mut client = host.client().await;
    assert_eq!(client.set_up(class).await, ("SUCCESS".to_owned(), String::new()));
    client.succeed("name", &[]).await
}

#[tokio::test]
async fn the_subclass_of_the_base_class_is_the_model_and_others_are_left_alone() {
    let name = |text: &str| Value::String(text.into());
    let files = [("game.py", BASE), ("main.py", SUBCLASS)];
    assert_eq!(name_of_the_model(&files, "game.TrackerBase").await, name("Mine"));
    // a main.py that imports its model
    let files = [("game.py", BASE), ("mine.py", SUBCLASS), ("main.py", "from mine import Mine")];
    assert_eq!(name_of_the_model(&files, "game.TrackerBase").await, name("Mine"));
}

#[tokio::test]
async fn the_one_plain_class_is_the_model_when_the_base_class_cannot_be_imported() {
    let one = name_of_the_model(&[("main.py", PLAIN)], BASE_CLASS).await;
    assert_eq!(one, Value::String("plain".into()));
    assert_eq!(name_of_the_model(&[("main.py", PLAIN)], "").await, one);
    let derived = format!("{PLAIN}\nclass Finer(Plain):\n    def name(self): return 'finer'\n");
    let finer = name_of_the_model(&[("main.py", &derived)], BASE_CLASS).await;
    assert_eq!(finer, Value::String("finer".into()), "the class that nothing builds upon");
}

#[tokio::test]
async fn none_or_several_classes_are_a_bad_implementation_that_names_them() {
    let two = format!("{PLAIN}\nclass Second:\n    tick = predict_all = print\n");
    let two_subclasses = format!("{SUBCLASS}\nclass Third(Mine): pass\nclass Fourth(Mine): pass\n");
    let cases: [(Files, &str, &str); 6] = [
        (&[("main.py", &two)], BASE_CLASS, "there are several: Plain, Second; leave one"),
        (&[("main.py", "class Ticker:\n    tick = print")], BASE_CLASS, "there is none"),
        (&[("main.py", "")], BASE_CLASS, "No module named 'crunch_synth_is_not_here'"),
        (&[("game.py", BASE), ("main.py", &two_subclasses)], "game.TrackerBase", "several: Fourth, Third"),
        (&[("game.py", BASE), ("main.py", PLAIN)], "game.TrackerBase", "there is none"),
        (&[("notes.txt", "")], BASE_CLASS, "no main.py, and no notebook either"),
    ];
    for (files, class, expected) in cases {
        let host = Host::of_files(files).await;
        let (code, message) = host.client().await.set_up(class).await;
        assert_eq!(code, "BAD_IMPLEMENTATION", "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

const WITH_ARGUMENTS: &str = "
class Model:
    made = 0
    def __init__(self, width, *, name='none'):
        Model.made += 1
        if width < 0:
            raise ValueError('a width below 0')
        self.width, self.label = width, name
    def tick(self, prices): pass
    def predict(self, asset, horizon, step): return []
    def state(self): return [self.width, self.label, Model.made]
";

#[tokio::test]
async fn the_constructor_gets_its_arguments_once() {
    let host = Host::of(WITH_ARGUMENTS).await;
    let mut client = host.client().await;
    let name = || vec![keyword("name", Value::String("é".into()))];
    let success = ("SUCCESS".to_owned(), String::new());
    let made = client.set_up_with(BASE_CLASS, vec![Value::Double(0.5).to_argument(1)], name()).await;
    assert_eq!(made, success);
    let again = client.set_up_with(BASE_CLASS, vec![Value::Double(7.0).to_argument(1)], vec![]).await;
    assert_eq!(again, success, "a second Setup succeeds");
    assert_eq!(
        client.succeed("state", &[]).await,
        Value::Json(r#"[0.5,"\u00e9",1]"#.into()),
        "and changes nothing"
    );
}

#[tokio::test]
async fn a_constructor_that_raises_or_does_not_fit_says_why_and_the_next_setup_is_tried_afresh() {
    let host = Host::of(WITH_ARGUMENTS).await;
    let mut client = host.client().await;
    let width = |width: f64| vec![Value::Double(width).to_argument(1)];
    let (code, message) = client.set_up_with(BASE_CLASS, width(-1.0), vec![]).await;
    assert_eq!(code, "SETUP_FAILED");
    assert_eq!(
        message,
        "ValueError: a width below 0 (main.py, line 7, in __init__: `raise ValueError('a width below 0')`)"
    );
    let (code, message) = client.fail("state", &[]).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("FAILED_PRECONDITION", "the set-up failed: send Setup first")
    );
    let (code, message) = client.set_up(BASE_CLASS).await;
    assert_eq!(code, "BAD_IMPLEMENTATION");
    assert!(message.contains("missing a required argument: 'width'"), "{message}");
    assert_eq!(client.set_up_with(BASE_CLASS, width(1.0), vec![]).await.0, "SUCCESS");
}

#[tokio::test]
async fn a_main_py_that_cannot_be_run_has_failed_its_setup_with_the_line() {
    let cases = [
        ("import numpie", "ModuleNotFoundError: No module named 'numpie' (main.py, line 1"),
        ("x = (", "SyntaxError: '(' was never closed (main.py, line 1)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (main.py, line 2"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import os\nos._exit(4)", "the model's process ended with exit status 4"),
    ];
    for (main, expected) in cases {
        let host = Host::of(main).await;
        let (code, message) = host.client().await.set_up(BASE_CLASS).await;
        assert_eq!(code, "SETUP_FAILED", "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_notebooks_magics_and_shell_lines_are_left_out() {
    let cells = [
        (
            "code",
            "%matplotlib inline\\n!pip install numpy\\nfound = !ls\\nhelp?\\nx = 7 \\\\\\n  % 4\\nif x:\\n    %time x",
        ),
        ("markdown", "this is no Python"),
        ("code", "%%bash\\nthis is no Python"),
        ("code", "%%time\\ntext = '''\\n%kept\\n'''"),
        ("code", "class Model:\\n    tick = predict = print\\n    def state(self): return [x, text]"),
    ];
    let cells = cells.map(|(kind, source)| {
        let lines = source.split("\\n").map(|line| format!("\"{line}\\n\"")).collect::<Vec<_>>().join(",");
        format!("{{\"cell_type\":\"{kind}\",\"metadata\":{{}},\"source\":[{lines}]}}")
    });
    let notebook = format!("{{\"cells\":[{}],\"nbformat\":4}}", cells.join(","));
    let host = Host::of_files(&[("tracker.ipynb", &notebook)]).await;
    let mut client = host.ready_client().await;
    assert_eq!(client.succeed("state", &[]).await, Value::Json(r#"[3,"\n%kept\n"]"#.into()));

    let host = Host::of_files(&[("broken.ipynb", "[]")]).await;
    let (code, message) = host.client().await.set_up(BASE_CLASS).await;
    assert_eq!(code, "BAD_IMPLEMENTATION");
    assert!(message.starts_with("broken.ipynb is not a notebook"), "{message}");
    let host = Host::of_files(&[("a.ipynb", &notebook), ("b.ipynb", &notebook)]).await;
    let (_, message) = host.client().await.set_up(BASE_CLASS).await;
    assert!(message.ends_with("several notebooks: a.ipynb, b.ipynb"), "{message}");
}
