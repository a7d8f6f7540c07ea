const SAID_MS = 2_000;

/** A button that copies this page's address, and says so for a moment in `toast`. */
export function copyLinkButton(button, toast) {
  let timer = 0;
  button.addEventListener("click", async () => {
    const copied = await copy(location.href.split(/[?#]/)[0]);
    toast.textContent = copied ? "Link copied" : "Please copy the link from the address bar";
    clearTimeout(timer);
    timer = setTimeout(() => toast.replaceChildren(), SAID_MS);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // plain http on another host than localhost has no clipboard API
  }
}

function copyBySelection(text) {
  const holder = document.createElement("textarea");
  holder.value = text;
  holder.className = "hidden-text";
  document.body.append(holder);
  holder.select();
  const copied = document.execCommand("copy");
  holder.remove();
  return copied;
}
