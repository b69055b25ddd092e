"""Opens a report in Chromium, wide and narrow, light and dark, and with scripts off: fails on errors and warnings of the
console, on requests, and on anything wider than the screen. With a folder, keeps screenshots there.

  pip install playwright      (and the package chromium, or: playwright install chromium)
  ./vlm2vec report runs/demo
  python tests/interop/report.py runs/demo/report.html [FOLDER]
"""

import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

page_file = pathlib.Path(sys.argv[1]).resolve()
folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
faults = []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            for scripts in (True, False):
                name = f"{scheme} {width} scripts {'on' if scripts else 'off'}"
                context = browser.new_context(color_scheme=scheme, java_script_enabled=scripts,
                                              viewport={"width": width, "height": 900})
                page = context.new_page()
                page.on("console", lambda message: faults.append(f"{name}: console: {message.text}"))
                page.on("pageerror", lambda error: faults.append(f"{name}: {error}"))
                page.on("request", lambda request: request.url.startswith(("file:", "data:"))
                        or faults.append(f"{name}: request {request.url}"))
                page.goto(page_file.as_uri())
                if scripts:
                    if page.evaluate("document.documentElement.scrollWidth") > width:
                        faults.append(f"{name}: the page is wider than the screen")
                    examples = page.locator("article.example")
                    if examples.count():
                        page.select_option("[name=outcome]", "wrong")
                        if page.locator("article.right:visible").count():
                            faults.append(f"{name}: the filter leaves right answers")
                        page.select_option("[name=outcome]", "")
                    if folder:
                        page.screenshot(path=folder / f"report_{scheme}_{width}.png")
                        page.screenshot(path=folder / f"report_{scheme}_{width}_whole.png", full_page=True)
                context.close()
    browser.close()
print("\n".join(faults) or f"{page_file}: no errors, no requests")
sys.exit(bool(faults))
