//! Ready zips as code: of one app, of functions and of their layers.

use std::path::Path;

use ingle_testkit::{App, Call, Python};
use serde_json::json;

/// Writes files into a zip: names with their content, by Python's own module.
fn zip(path: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let program = "import json, sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as out:\n    \
        [out.writestr(name, text) for name, text in json.loads(sys.argv[2])]";
    Python::any().run(program, &[&path.display().to_string(), &json!(files).to_string()]);
}

const HANDLER: &str = "import json, os\ndef lambda_handler(event, context):\n    import shared\n    \
    return {'statusCode': 200, 'body': json.dumps([shared.WORD, os.path.basename(os.getcwd())])}\n";

#[test]
fn a_function_and_its_layer_may_be_zips() {
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Shared:\n    Type: AWS::Serverless::LayerVersion\n    \
        Properties:\n      ContentUri: build/layer.zip\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
        CodeUri: build/hello.zip\n      Handler: lambda_function.lambda_handler\n      Runtime: python3.11\n      \
        Layers: [!Ref Shared]\n      Events:\n        Get:\n          Type: HttpApi\n          Properties: {Path: /hello, Method: get}\n";
    let launch = App::default().file("template.yaml", template).launch(&Python::any());
    zip(&launch.folder().join("build/hello.zip"), &[("lambda_function.py", HANDLER)]);
    zip(&launch.folder().join("build/layer.zip"), &[("python/shared.py", "WORD = 'of the layer'\n")]);
    let server = launch.start();
    assert_eq!(server.get("/hello").status(200).json(), json!(["of the layer", "hello"]));
}

#[test]
fn an_artifact_of_serverless_is_code() {
    let own = "service: shop\nprovider: {name: aws, runtime: python3.11}\npackage: {artifact: out.zip}\nfunctions:\n  hello:\n    \
        handler: lambda_function.lambda_handler\n    events: [{httpApi: 'GET /hello'}]\n";
    let launch = App::default().file("serverless.yml", own).launch(&Python::any());
    let files = [("lambda_function.py", HANDLER), ("shared.py", "WORD = 'beside'\n")];
    zip(&launch.folder().join("out.zip"), &files);
    assert_eq!(launch.start().get("/hello").status(200).json(), json!(["beside", "out"]));
}

#[test]
fn a_zip_is_checked_and_refused_by_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.zip");
    let check = |files: &[(&str, &str)], code: &str, part: &str| {
        zip(&path, files);
        let done = Call::new(&["check", "--json"]).path(&path).run();
        let said = done.json();
        assert!(said["code"] == code && said.to_string().contains(part), "{said}");
    };
    check(&[("app.py", ""), ("../../evil.py", "")], "E0131", "../../evil.py");
    let wheel = "Wheel-Version: 1.0\nTag: cp311-cp311-macosx_11_0_arm64\n";
    check(&[("numpy-2.0.0.dist-info/WHEEL", wheel)], "E0135", "numpy 2.0.0");
    std::fs::write(&path, "no zip").unwrap();
    assert_eq!(Call::new(&["check", "--json"]).path(&path).run().json()["code"], "E0130");
    assert!(!folder.path().join("evil.py").exists());
}

#[test]
fn a_zip_is_read_as_a_folder_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.zip");
    zip(
        &path,
        &[("lambda_function.py", "def lambda_handler(event, context):\n    return context.function_name\n")],
    );
    let python = Python::any();
    let done = Call::new(&["check", "--json", "--python"]).path(&python.program).path(&path).run().code(0);
    assert_eq!(done.json()["functions"], json!(["greeter"]));
}

#[test]
fn a_zip_is_served_as_a_folder_is() {
    let launch = App::default().launch(&Python::any()).part("greeter.zip");
    let handler = "import words\ndef lambda_handler(event, context):\n    \
        return [context.function_name, words.GREETING, event['rawPath']]\n";
    let files = [("lambda_function.py", handler), ("words.py", "GREETING = 'hello'\n")];
    zip(&launch.folder().join("greeter.zip"), &files);
    let server = launch.start();
    assert_eq!(server.get("/door").status(200).json(), json!(["greeter", "hello", "/door"]));
}
