/** Keys for tests: 32 bytes in base64. */
export const KEYS = [
  "q6Zb0hG1w7q5Jc/9tVf+3m2xY8kLr0sD4uEoN1pWaHc=",
  "Lk3+vQ8rT1yUo0pBz7XcNn5mMa2GdSeHj4Kf6wRiYxA=",
  "Zt9uEw2QpRs6YhXvMk1JgLf0b+Cn4aDi/7Ko3xVqTzE=",
] as const;
