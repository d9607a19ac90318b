//! Virtual environments for submissions, from a wheel that the test makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use orchestrator::host::{EnvironmentError, Environments};
use tempfile::TempDir;

use crate::host::{Host, json};

const MAKE_WHEEL: &str = r#"
import sys, zipfile
info = "tiny-1.0.dist-info/"
files = {
    "tiny.py": "SIZE = 7\n",
    info + "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
files[info + "RECORD"] = "".join(f"{name},,\n" for name in [*files, info + "RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
"#;

const MAIN: &str = "
import tiny
class Model:
    tick = predict = print
    def size(self): return [tiny.SIZE]
";

/// A submission with its own wheel, in a folder `submission` of its own.
fn submission(requirements: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().canonicalize().unwrap().join("submission");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("main.py"), MAIN).unwrap();
    std::fs::write(folder.join("requirements.txt"), requirements).unwrap();
    let wheel = folder.join("tiny-1.0-py3-none-any.whl");
    assert!(Command::new("python3").args(["-c", MAKE_WHEEL]).arg(wheel).status().unwrap().success());
    (parent, folder)
}

fn entries(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn requirements_are_installed_once_and_the_submission_runs_with_them() {
    let (parent, folder) = submission("# our own\n./tiny-1.0-py3-none-any.whl\n");
    let environments = Environments::beside(&folder);
    let python = Path::new("python3");
    let both =
        tokio::join!(environments.interpreter(&folder, python), environments.interpreter(&folder, python));
    let interpreter = both.0.unwrap();
    assert_eq!(both.1.unwrap(), interpreter);
    let kept = entries(&parent.path().join(".environments"));
    assert!(
        kept.len() == 2 && kept[1] == format!("{}.lock", kept[0]),
        "nothing half built is left: {kept:?}"
    );

    let built = std::fs::metadata(interpreter.parent().unwrap()).unwrap().modified().unwrap();
    let host = Host::of_folder(folder.clone()).await;
    let mut client = host.ready_client().await;
    assert_eq!(client.succeed("size", &[]).await, json("[7]"));
    assert_eq!(
        std::fs::metadata(interpreter.parent().unwrap()).unwrap().modified().unwrap(),
        built,
        "not built again"
    );
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_with_the_installers_last_lines_and_leaves_nothing() {
    let (parent, folder) = submission("./no-such-wheel-1.0-py3-none-any.whl");
    let environments = Environments::in_folder(parent.path().join("shared"));
    let error = environments.interpreter(&folder, Path::new("python3")).await.unwrap_err();
    assert!(matches!(error, EnvironmentError::Build { .. }), "{error}");
    assert!(error.to_string().contains("no-such-wheel"), "{error}");
    let kept = entries(&parent.path().join("shared"));
    assert!(kept.len() == 1 && kept[0].ends_with(".lock"), "{kept:?}");
}

#[tokio::test]
async fn no_requirements_need_no_environment_and_a_python_that_is_none_is_told() {
    let (parent, folder) = submission("# nothing\n");
    let environments = Environments::in_folder(parent.path().join("shared"));
    let plain = environments.interpreter(&folder, Path::new("python3")).await.unwrap();
    assert!(plain.is_absolute(), "{}", plain.display());
    assert!(!parent.path().join("shared").exists());
    for (python, expected) in [("no-such-python", "No such file"), ("false", "it does not answer")] {
        let error = environments.interpreter(&folder, Path::new(python)).await.unwrap_err().to_string();
        assert!(error.contains(python) && error.contains(expected), "{error}");
    }
}
