// Images and files in the browser.

export async function bitmap(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

export function save(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
