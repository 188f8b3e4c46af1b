export function create({ node }) {
  return {
    update(data) {
      node.textContent = JSON.stringify(data);
    },
  };
}
