//! The page of `status --html`, in a real browser: on a phone and on a wide screen all of it is there and nothing is cut off.

use std::process::Command;

use serde_json::Value;

use crate::lab::Lab;

const NAME: &str = "www.site.test";

/// What a browser of so many pixels makes of the page: measured inside a frame, since a window has a least width.
const MEASURE: &str = "<!DOCTYPE html><meta charset=utf-8><iframe src=page.html style='border:0;width:WIDTHpx;height:4000px'></iframe><pre></pre><script>
document.querySelector('iframe').onload = event => {
  const page = event.target.contentDocument, root = page.documentElement;
  const cut = [...page.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && getComputedStyle(e.closest('thead') || e).position != 'absolute' && (box.right > root.clientWidth + 1 || box.left < 0 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline');
  });
  const text = page.querySelector('tbody').innerText;
  const label = page.querySelector('td:nth-child(3)');
  document.querySelector('pre').textContent = JSON.stringify({
    width: root.clientWidth, scroll: root.scrollWidth, cut: cut.map(e => e.outerHTML.slice(0, 200)), text,
    lang: root.lang, title: page.title, stacked: getComputedStyle(page.querySelector('tr')).display == 'block',
    label: getComputedStyle(label, '::before').content, progress: [...page.querySelectorAll('progress')].map(e => e.getAttribute('aria-label')),
    font: parseFloat(getComputedStyle(page.body).fontSize),
  });
};
</script>";

fn measured(directory: &std::path::Path, width: u32) -> Value {
    std::fs::write(directory.join("measure.html"), MEASURE.replace("WIDTH", &width.to_string())).unwrap();
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    let url = format!("file://{}", directory.join("measure.html").display());
    let screen = format!("--window-size={},4000", width.max(500) + 40);
    let words = [
        "60",
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
    ];
    let shown = Command::new("timeout").args(words).args([&profile, &screen, "--dump-dom", &url]).output().unwrap();
    let dom = String::from_utf8_lossy(&shown.stdout).into_owned();
    let json = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>")).map(|(json, _)| json);
    let json = json.unwrap_or_else(|| panic!("{dom}\n{}", String::from_utf8_lossy(&shown.stderr)));
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
#[ignore = "needs chromium, which is large: ./tests/browser installs it and runs this"]
fn the_page_is_whole_on_a_phone_and_on_a_wide_screen() {
    let (lab, _) = Lab::serving(3, NAME);
    let primary = lab.primary();
    lab["web2"].break_nginx();
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3);
    lab["web3"].unplug();
    primary.run(["certcast", "status", "--html", "/root/page.html"]).exits(3);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("page.html"), primary.text("/root/page.html")).unwrap();
    // For a person to look at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/page.html"), primary.text("/root/page.html")).unwrap();
    for (width, stacked) in [(400, true), (1400, false)] {
        let seen = measured(home.path(), width);
        assert_eq!((&seen["width"], &seen["cut"]), (&Value::from(width), &Value::Array(Vec::new())), "{seen:#}");
        assert!(seen["scroll"].as_u64().unwrap() <= u64::from(width), "{seen:#}");
        assert_eq!((seen["lang"].as_str(), seen["title"].as_str()), (Some("en"), Some("certcast: 1 of 3 in line")));
        assert_eq!(seen["stacked"], stacked, "{seen:#}");
        assert_eq!(seen["label"].as_str() == Some("\"State\""), stacked, "{seen:#}");
        assert!(seen["font"].as_f64() >= Some(16.0), "{seen:#}");
        let text = seen["text"].as_str().unwrap();
        for words in
            ["web1", "web2", "web3", NAME, "✓ in line", "! should be 2", "'nginx -t' failed", "✗ 192.0.2.3: no answer"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let lines = seen["progress"].as_array().unwrap();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.as_str().unwrap().starts_with("in ")), "{lines:?}");
    }
}
