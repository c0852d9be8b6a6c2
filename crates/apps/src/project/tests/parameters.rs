//! Parameters of templates, and conditions that depend on them.

use super::*;

const STAGED: &str = r#"Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, AllowedValues: [dev, prod]}
  Table: {Type: String, Default: items}
  Secret: {Type: "AWS::SSM::Parameter::Value<String>", Default: /x/y}
Conditions:
  Production: !Equals [!Ref Stage, prod]
  Development: !Not [!Condition Production]
Resources:
  Prod:
    Type: AWS::Serverless::Function
    Condition: Production
    Properties: {Handler: a.b}
  Dev:
    Type: AWS::Serverless::Function
    Condition: Development
    Properties: {Handler: a.b}
  Both:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, Environment: {Variables: {STAGE: !Ref Stage, TABLE: !Ref Table, SECRET: !Ref Secret}}}
"#;

/// `Prod Both STAGE=prod TABLE=items`: the functions, and the variables of the last one.
#[track_caller]
fn check(files: &[(&str, &str)], stage: Option<&str>, given: &[(&str, &str)], expected: &str) -> Project {
    let files = [&[("template.yaml", STAGED)][..], files].concat();
    let found = project(&files, &options(&[], stage, given));
    let ids = found.functions.iter().map(|function| function.id.clone());
    let variables = found.functions.last().unwrap().variables.iter();
    let words: Vec<String> = ids.chain(variables.map(|(name, value)| format!("{name}={value}"))).collect();
    assert_eq!(words.join(" "), expected, "{}", shown(&found));
    found
}

fn problems(project: &Project) -> Vec<String> {
    project.problems.iter().map(|problem| problem.to_string().replace("\n  fix:", "; fix:")).collect()
}

#[test]
fn the_caller_wins_over_samconfig_and_that_over_defaults() {
    let deploy = "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = \"Stage=prod Table=\\\"big items\\\" Secret=/z Other=x\"\n";
    let found = check(&[("samconfig.toml", deploy)], None, &[], "Prod Both STAGE=prod TABLE=big items");
    assert_eq!((found.included, found.problems), (vec![PathBuf::from("samconfig.toml")], vec![]));
    check(&[("samconfig.toml", deploy)], None, &[("Stage", "dev")], "Dev Both STAGE=dev TABLE=big items");
    let own = [("Stage", "dev"), ("Secret", "s3cret")];
    check(&[], None, &own, "Dev Both SECRET=s3cret STAGE=dev TABLE=items");
    // What is for all commands counts only where deploy says nothing; a list is as good as a text.
    let global = "[default.global.parameters]\nparameter_overrides = [\"Stage=dev\", \"Table=global\"]\n";
    check(&[("samconfig.toml", global)], None, &[], "Dev Both STAGE=dev TABLE=global");
    let both = format!("{global}{deploy}").replace("version = 0.1\n", "");
    check(&[("samconfig.toml", &both)], None, &[], "Prod Both STAGE=prod TABLE=big items");
    let yaml = "default:\n  deploy:\n    parameters:\n      parameter_overrides:\n        - ParameterKey=Stage,ParameterValue=prod\n";
    check(&[("samconfig.yaml", yaml)], None, &[], "Prod Both STAGE=prod TABLE=items");
    check(
        &[("samconfig.yaml", yaml), ("samconfig.toml", global)],
        None,
        &[],
        "Dev Both STAGE=dev TABLE=global",
    );
}

#[test]
fn another_environment_of_samconfig_counts_if_it_is_there() {
    let file = "[default.deploy.parameters]\nparameter_overrides = \"Stage=dev\"\n[live.deploy.parameters]\nparameter_overrides = \"Stage=prod\"\n";
    check(&[("samconfig.toml", file)], Some("live"), &[], "Prod Both STAGE=prod TABLE=items");
    check(&[("samconfig.toml", file)], Some("none"), &[], "Dev Both STAGE=dev TABLE=items");
}

#[test]
fn what_samconfig_has_wrong_has_its_line() {
    let wrong = |text: &str, expected: &str| {
        let found = check(
            &[("samconfig.toml", text)],
            None,
            &[("Stage", "prod")],
            "Prod Both STAGE=prod TABLE=items",
        );
        let fix = "write parameter_overrides = \"Name=value Other=value\", or a list of such texts";
        assert_eq!(problems(&found), [format!("error[E0116] samconfig.toml:{expected}; fix: {fix}")]);
    };
    wrong(
        "[default.deploy.parameters]\nparameter_overrides = \"secret\"\n",
        "2: an override is no NAME=VALUE",
    );
    let found = check(
        &[("samconfig.toml", "[default\n")],
        None,
        &[("Stage", "prod")],
        "Prod Both STAGE=prod TABLE=items",
    );
    let problem = &found.problems[0];
    assert_eq!((problem.file.as_deref(), problem.line), (Some("samconfig.toml"), Some(1)), "{problem}");
}

/// Whether something is met, nobody knows, nor whether its negation is: both are served, which is said once.
#[test]
fn what_depends_on_a_missing_parameter_is_served_with_a_word() {
    let found = check(&[], None, &[], "Prod Dev Both TABLE=items");
    assert_eq!(
        problems(&found),
        [
            "warning[E0118] template.yaml:10: nobody knows whether Production or Development is met: the parameter Stage has no default; \
          `--parameter Stage=VALUE` gives it a value; fix: until that is known, what depends on it is served in any case"
        ]
    );
    let said: Vec<&str> = found.ignored.iter().map(|one| one.why.as_str()).collect();
    assert_eq!(
        said,
        [
            "the parameter Stage has no default; `--parameter Stage=VALUE` gives it a value",
            "the parameter Secret is kept in AWS Systems Manager; `--parameter Secret=VALUE` gives it a value",
        ]
    );
}

#[test]
fn wrong_values_are_said() {
    let found = check(&[], None, &[("Stage", "prd"), ("Tabel", "x")], "Dev Both STAGE=prd TABLE=items");
    assert_eq!(
        problems(&found),
        [
            "warning[E0116] template.yaml:3: the template has no parameter `Tabel`; did you mean `Table`?; fix: give values only to those below Parameters",
            "error[E0116] template.yaml:3: what the parameter Stage is given is none of its AllowedValues; fix: give one of dev, prod",
        ]
    );
}
